//! Which addresses a tenant's URL may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Only global unicast addresses, unless the operator lists the network (`security.allow_destinations`). Without this, a
/// tenant's URL is a way into the operator's own network.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    listed: Vec<IpNet>,
}

/// An address that the policy keeps us from dialling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}, and no network of security.allow_destinations contains it")]
pub struct Refused {
    pub address: IpAddr,
    pub what: &'static str,
}

impl AddressPolicy {
    pub fn new(listed: Vec<IpNet>) -> Self {
        Self { listed }
    }

    /// Whether a connection may go there.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        match special_purpose(address.to_canonical()) {
            Some(what) if !self.lists(address) => Err(Refused { address, what }),
            _ => Ok(()),
        }
    }

    /// Whether the operator listed the address. An IPv4-mapped address counts as the IPv4 address that it reaches.
    pub fn lists(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.listed.iter().any(|network| network.contains(&address))
    }
}

fn special_purpose(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_purpose_v4(address),
        IpAddr::V6(address) => special_purpose_v6(address),
    }
}

fn special_purpose_v4(address: Ipv4Addr) -> Option<&'static str> {
    (address.is_private() || address.is_loopback()).then_some("a private address")
}

fn special_purpose_v6(address: Ipv6Addr) -> Option<&'static str> {
    (address.segments()[0] & 0xe000 != 0x2000).then_some("not a global unicast address")
}
