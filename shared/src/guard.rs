//! Where deliveries must not reach: every special-purpose address, judged on the address that is dialled.
//!
//! Source of the ranges: the IANA IPv4 and IPv6 Special-Purpose Address Registries. An IPv4 address inside an
//! IPv6 one is judged as itself, so no wrapping gets around the list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, d: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

const FORBIDDEN_V4: [Ipv4Net; 19] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 31, 196, 0, 24),
    v4(192, 52, 193, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(192, 175, 48, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    v4(255, 255, 255, 255, 32),
];

const FORBIDDEN_V6: [Ipv6Net; 11] = [
    v6(0x100, 0, 0, 0, 64),
    v6(0x100, 0, 0, 1, 64),
    v6(0x2001, 0, 0, 0, 23),
    v6(0x2001, 0xdb8, 0, 0, 32),
    v6(0x2620, 0x4f, 0x8000, 0, 48),
    v6(0x3fff, 0, 0, 0, 20),
    v6(0x5f00, 0, 0, 0, 16),
    v6(0xfc00, 0, 0, 0, 7),
    v6(0xfe80, 0, 0, 0, 10),
    v6(0xfec0, 0, 0, 0, 10),
    v6(0xff00, 0, 0, 0, 8),
];

/// Whether nothing may be sent to `address`.
///
/// ```
/// use postrider::guard::is_forbidden;
/// assert!(is_forbidden("169.254.169.254".parse().unwrap()));
/// assert!(is_forbidden("64:ff9b::a9fe:a9fe".parse().unwrap()), "the same, through NAT64");
/// assert!(!is_forbidden("93.184.216.34".parse().unwrap()));
/// ```
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => FORBIDDEN_V4.iter().any(|net| net.contains(&v4)),
        IpAddr::V6(v6) => {
            let own = FORBIDDEN_V6.iter().any(|net| net.contains(&v6));
            own || inner_v4(v6).is_some_and(|v4| is_forbidden(v4.into()))
        }
    }
}

/// The IPv4 address inside an IPv6 one: mapped and compatible (RFC 4291; `::` and `::1` are among the latter,
/// and land in 0/8), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056).
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // The third is RFC 2765's "IPv4-translated" form, ::ffff:0:a.b.c.d.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        // RFC 8215 leaves the place of the IPv4 bits to the network: none of 64:ff9b:1::/48 is safe to dial.
        [0x64, 0xff9b, 1, ..] => Some(Ipv4Addr::LOCALHOST),
        _ => None,
    }
}

/// Whether a URL plainly names a forbidden place, so that its registration can be refused with a reason. The
/// judgement that counts is [`is_forbidden`], at connect time.
pub fn host_is_private(url: &Url) -> bool {
    match url.host() {
        None => true,
        Some(Host::Ipv4(v4)) => is_forbidden(v4.into()),
        Some(Host::Ipv6(v6)) => is_forbidden(v6.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            // RFC 6761 (localhost), RFC 6762 (local), and the private-use name of ICANN's resolution (internal).
            ["localhost", "local", "internal"].iter().any(|zone| {
                name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;

    /// Address, and whether it is forbidden: one line for each range, its edges, and each way of wrapping.
    const VECTORS: &str = include_str!("guard_vectors.txt");

    #[test]
    fn every_vector_is_judged_as_the_table_says() {
        let mut judged = 0;
        for line in VECTORS.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (address, verdict) = line.split_once(' ').unwrap();
            let forbidden = match verdict.split_whitespace().next().unwrap() {
                "refuse" => true,
                "allow" => false,
                other => panic!("{other}"),
            };
            assert_eq!(is_forbidden(address.parse().unwrap()), forbidden, "{line}");
            judged += 1;
        }
        assert!(judged > 80, "{judged}");
    }

    /// The rows of a part of the document, by their cells.
    fn rows(part: &str) -> Vec<Vec<&'static str>> {
        const DOCUMENT: &str = include_str!("../../docs/ssrf.md");
        let part = DOCUMENT.split("\n## ").find(|text| text.starts_with(part)).unwrap();
        let lines = part.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        lines.skip(2).map(|line| line.split(" | ").collect()).collect()
    }

    #[test]
    fn every_range_is_in_the_document_and_every_row_of_it_is_refused() {
        let ranges: Vec<IpNet> = rows("Ranges").iter().map(|row| row[0].parse().unwrap()).collect();
        for range in &ranges {
            for address in [range.network(), range.broadcast()] {
                assert!(is_forbidden(address), "{address} of {range}");
            }
        }
        for range in FORBIDDEN_V4.map(IpNet::V4).into_iter().chain(FORBIDDEN_V6.map(IpNet::V6)) {
            assert!(ranges.contains(&range), "{range} is not in docs/ssrf.md");
        }
        assert!(ranges.len() >= 50);
    }

    #[test]
    fn what_is_wrapped_is_judged_by_what_is_inside() {
        let wrappings = rows("IPv4 within IPv6");
        assert_eq!(wrappings.len(), 5);
        for row in wrappings {
            assert!(is_forbidden(row[1].parse().unwrap()), "{row:?}");
            assert!(!is_forbidden(row[2].parse().unwrap()), "{row:?}");
        }
    }

    #[test]
    fn every_spelling_in_the_document_is_refused() {
        let hosts = rows("Hosts");
        assert!(hosts.len() > 30);
        for row in hosts {
            let url: Url = format!("https://{}/", row[0]).parse().unwrap();
            assert!(host_is_private(&url), "{row:?}");
        }
    }
}
