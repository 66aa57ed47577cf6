"""How well models of densities do, on exact densities, real tables and conditional tasks."""
