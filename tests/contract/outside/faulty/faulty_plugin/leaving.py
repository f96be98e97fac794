"""Ends whatever program imports it."""

import sys

sys.exit("this plugin runs on Sundays only")
