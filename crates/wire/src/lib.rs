//! AWS protocols (JSON 1.x, query, ec2), SigV4 and error envelopes; server and client side.
