"""Side-by-side runs, quality scores, reports, stand-ins."""
