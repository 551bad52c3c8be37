//! What the server says to nodes and nodes say back; versioned frames over mutual TLS.
