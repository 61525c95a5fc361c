"""The bundled pair: the synthetic videos it watches, the recipe that trains it, the demonstration that uses it."""
