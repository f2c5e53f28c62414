"""The configuration room: assembles the rooms' options, reads YAML with line numbers, reloads whole or not at all."""
