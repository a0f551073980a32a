"""Files of products, in any of the formats that shops have, as rows: no HTTP, no SQL, no Ray."""
