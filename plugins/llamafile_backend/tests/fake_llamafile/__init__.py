"""A program that takes llamafile's arguments and serves with llama.cpp's real server."""
