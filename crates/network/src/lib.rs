//! Namespaces, links, addresses, nftables; idempotent ensure and remove.
