"""What stage `report` calls: a study's numbers become tables, figures, sentences and pages."""
