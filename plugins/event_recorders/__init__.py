"""Event recorders that come with the launcher, one module each; README.md says what they write."""
