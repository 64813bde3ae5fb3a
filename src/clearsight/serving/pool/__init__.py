"""Pool of worker processes behind one listening socket, and the connections that they share with it."""
