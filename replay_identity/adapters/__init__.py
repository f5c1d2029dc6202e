"""What an adapter author imports, from one place."""
