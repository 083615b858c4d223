"""The one place that says which version this is; the build, the User-Agent and the provider info read it here."""

__version__ = "0.1.0"
