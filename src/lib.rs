//! ld-morsel
