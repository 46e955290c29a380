//! The managed-object tree: classes as data, transactions, relations, queries, the wire forms and the YAML manifest.
