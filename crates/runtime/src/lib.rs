//! Images and containers: a neutral trait and its containerd adapter. gRPC types never leave.
