//! Statements built at run time.
