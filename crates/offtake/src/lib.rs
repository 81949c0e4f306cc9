//! stub

pub mod private_server;
