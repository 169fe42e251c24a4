//! How clients prove who they are: tokens, and users of this machine. Certificates are the
//! listener's, which does the handshake.

pub mod tokens;
pub mod user;
