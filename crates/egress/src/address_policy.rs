//! Which addresses a tenant's URL may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Only global unicast addresses, unless the operator lists the network
/// (`security.allow_destinations`). Otherwise a tenant's URL could lead into the operator's own
/// network.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    listed: Vec<IpNet>,
}

/// An address that must not be dialled, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is {what}, and no network of security.allow_destinations contains it; if it is one of \
     yours, list it there: {}", IpNet::from(address.to_canonical())
)]
pub struct AddressRefused {
    pub address: IpAddr,
    pub what: &'static str,
}

impl AddressPolicy {
    pub fn new(listed: Vec<IpNet>) -> Self {
        Self { listed }
    }

    /// Whether a connection may go there.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        match special_purpose(address.to_canonical()) {
            Some(what) if !self.lists(address) => Err(AddressRefused { address, what }),
            _ => Ok(()),
        }
    }

    /// Whether the operator listed the address. An IPv4-mapped address counts as the IPv4 address
    /// that it reaches.
    pub fn lists(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.listed.iter().any(|network| network.contains(&address))
    }
}

/// What is special about an address, by the IANA registries of special-purpose addresses; `None`
/// for global unicast.
fn special_purpose(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            SPECIAL_V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, what)| *what)
        }
        IpAddr::V6(address) => special_purpose_v6(address),
    }
}

fn special_purpose_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some((_, what)) = SPECIAL_V6.iter().find(|(network, _)| network.contains(&address)) {
        return Some(what);
    }
    if !GLOBAL_UNICAST_V6.contains(&address) {
        return Some("not a global unicast address");
    }
    // ISATAP: an IPv4 address in the last half, behind 0000:5efe or 0200:5efe, whatever the prefix.
    let [.., mark, five_efe, _, _] = address.segments();
    (five_efe == 0x5efe && mark & !0x0200 == 0).then_some("an ISATAP tunnel to an IPv4 address")
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// A network by the first four groups of its address; the others are zero.
const fn v6(a: u16, b: u16, c: u16, d: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

const SPECIAL_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "an address of \"this network\""),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "an address behind a carrier's NAT"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    // Azure's host agent answers under a public address.
    (v4(168, 63, 129, 16, 32), "a cloud's metadata address"),
    (v4(169, 254, 0, 0, 16), "a link-local address, where clouds keep their metadata"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "an address reserved for protocols"),
    (v4(192, 0, 2, 0, 24), "a documentation address"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(198, 18, 0, 0, 15), "a benchmarking address"),
    (v4(198, 51, 100, 0, 24), "a documentation address"),
    (v4(203, 0, 113, 0, 24), "a documentation address"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(240, 0, 0, 0, 4), "a reserved or broadcast address"),
];

const GLOBAL_UNICAST_V6: Ipv6Net = v6(0x2000, 0, 0, 0, 3);

/// Inside the global unicast range, or outside it with a name that says more than "not global".
const SPECIAL_V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "the unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    (v6(0x64, 0xff9b, 0, 0, 96), "a NAT64 translation of an IPv4 address"),
    (v6(0x64, 0xff9b, 1, 0, 48), "a NAT64 translation of an IPv4 address"),
    (v6(0x100, 0, 0, 0, 64), "a discard address"),
    (v6(0x2001, 0, 0, 0, 32), "a Teredo tunnel to an IPv4 address"),
    (v6(0x2001, 0, 0, 0, 23), "an address reserved for protocols"),
    (v6(0x2001, 0xdb8, 0, 0, 32), "a documentation address"),
    (v6(0x2002, 0, 0, 0, 16), "a 6to4 tunnel to an IPv4 address"),
    (v6(0x3fff, 0, 0, 0, 20), "a documentation address"),
    (v6(0xfc00, 0, 0, 0, 7), "a private address"),
    (v6(0xfe80, 0, 0, 0, 10), "a link-local address"),
    (v6(0xfec0, 0, 0, 0, 10), "a site-local address"),
    (v6(0xff00, 0, 0, 0, 8), "a multicast address"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listed: &[&str], address: &str) -> Option<&'static str> {
        let policy =
            AddressPolicy::new(listed.iter().map(|network| network.parse().unwrap()).collect());
        policy.check(address.parse().unwrap()).err().map(|refused| refused.what)
    }

    /// What the message tells an operator to list is enough, and no more than that.
    #[test]
    fn an_address_that_is_listed_as_the_message_says_may_be_dialled() {
        for address in ["127.0.0.1", "10.1.2.3", "fd00::1", "::ffff:10.1.2.3"] {
            let address: IpAddr = address.parse().unwrap();
            let message = AddressPolicy::default().check(address).unwrap_err().to_string();
            let (_, network) = message.split_once("list it there: ").unwrap();
            let network: IpNet = network.parse().unwrap();
            assert_eq!(network.prefix_len(), network.max_prefix_len(), "{message}");
            assert_eq!(AddressPolicy::new(vec![network]).check(address), Ok(()), "{message}");
        }
    }

    #[test]
    fn global_unicast_is_allowed() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2003::1",
            "2400::1",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(check(&[], address), None, "{address}");
        }
    }

    #[test]
    fn everything_else_is_refused_however_it_is_written() {
        for (address, what) in [
            ("0.0.0.0", "this network"),
            ("0.1.2.3", "this network"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "carrier"),
            ("100.100.100.200", "carrier"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "metadata"),
            ("169.254.169.254", "metadata"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "protocols"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.1.1", "private"),
            ("198.18.0.1", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "not a global unicast"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.1.2.3", "private"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::ffff:0:7f00:1", "not a global unicast"),
            ("64:ff9b::10.0.0.1", "NAT64"),
            ("64:ff9b::8.8.8.8", "NAT64"),
            ("64:ff9b:1::1", "NAT64"),
            ("100::1", "discard"),
            ("2001::1", "Teredo"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
            ("2001:2::1", "protocols"),
            ("2001:10::1", "protocols"),
            ("2001:1ff::1", "protocols"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::1", "6to4"),
            ("2002:a00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("3fff:fff::1", "documentation"),
            ("2606:4700::5efe:a00:1", "ISATAP"),
            ("2606:4700::200:5efe:a00:1", "ISATAP"),
            ("4000::1", "not a global unicast"),
            ("5f00::1", "not a global unicast"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fd20:ce::254", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            let refused = check(&[], address).unwrap_or_else(|| panic!("{address} passed"));
            assert!(refused.contains(what), "{address}: {refused}");
        }
    }

    #[test]
    fn a_listed_network_is_allowed_and_nothing_beside_it() {
        let loopback = ["127.0.0.0/8", "::1/128"];
        assert_eq!(check(&loopback, "127.0.0.1"), None);
        assert_eq!(check(&loopback, "::ffff:127.0.0.1"), None);
        assert_eq!(check(&loopback, "::1"), None);
        assert!(check(&loopback, "10.0.0.1").is_some());
        assert!(check(&["10.1.0.0/16"], "10.2.0.1").is_some());
        assert!(!AddressPolicy::default().lists("8.8.8.8".parse().unwrap()));
        assert!(
            AddressPolicy::new(vec!["8.8.8.0/24".parse().unwrap()])
                .lists("8.8.8.8".parse().unwrap())
        );
    }
}
