"""`anticipate export`: files for others, such as the EPIC-Kitchens challenge."""
