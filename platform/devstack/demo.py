"""The demo: what a first user does in the browser, done by a program.

An organization, an owner, the project `production`, one sealed box for each provider key. Secrets are made on the
client's side of the line (devstack/browser.py) and kept where a browser or its user would keep them, in `var/demo/`;
the services below get what a browser would send. Running it again finds what it made and adds what is missing.
"""

from config.env import ROOT

EMAIL = "demo@example.com"
FOLDER = ROOT / "var" / "demo"
"""
"""
