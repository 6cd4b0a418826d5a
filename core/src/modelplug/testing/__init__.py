"""Help for testing backends and programs that embed modelplug."""
