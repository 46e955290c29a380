//! What a contract means: the managed-object tree compiled into the rule table, explained and traced.
