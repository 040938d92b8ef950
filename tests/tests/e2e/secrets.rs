//! What must never be written.
