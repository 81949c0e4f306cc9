//! A port that stays reserved while no server listens on it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1, bound and never listened on. The kernel gives it to no process that asks
/// for any free port, and a dial to it is refused. A server that names it and sets SO_REUSEADDR, as
/// Postgres does, may listen on it, stop, and listen again. Without the reservation, another
/// process could have taken the port before the server has started.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    _socket: TcpSocket,
}

impl ReservedPort {
    /// Any port that is free; until this is dropped.
    pub fn any() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { number: socket.local_addr()?.port(), _socket: socket })
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_reserved_port_is_listened_on_by_whoever_names_it_and_given_to_nobody_else() {
        let port = ReservedPort::any().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        for _ in 0..2 {
            assert_eq!(
                TcpStream::connect(address).unwrap_err().kind(),
                io::ErrorKind::ConnectionRefused
            );
            let listener = TcpListener::bind(address).await.unwrap();
            TcpStream::connect(address).unwrap();
            drop(listener);
        }
        let others: Vec<_> = (0..500).map(|_| ReservedPort::any().unwrap()).collect();
        assert!(others.iter().all(|other| other.number() != port.number()));
    }
}
