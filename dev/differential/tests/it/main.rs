//! The judges, compared.
