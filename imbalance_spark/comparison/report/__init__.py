"""The comparison as people read it: tables, figures, one HTML page."""
