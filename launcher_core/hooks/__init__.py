"""What a plugin may be (ports, specs), how it is found (find) and how it is called (manager)."""
