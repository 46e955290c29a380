//! Where committed objects are kept: memory or a redb file.
