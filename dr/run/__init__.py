"""What is done: one room for each part of it; the layers between them are an import contract."""
