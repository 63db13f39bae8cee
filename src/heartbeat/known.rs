//! The idle timeouts that middleboxes are really set to. A search that steps just under these numbers ends on one of
//! them more often than not, with a bracket as narrow as the step above it.

/// Seconds, ascending.
const TIMEOUTS_S: [u32; 16] = [
    30,    // G-Core CDN, Juniper services-options
    60,    // nginx proxy_read_timeout, AWS Classic ELB and ALB, Fly.io
    100,   // Cloudflare WebSockets
    150,   // cellular carriers reported by u-blox and MicroPython users
    180,   // Vodafone and TIM in Italy, Traefik
    240,   // Azure load balancer, RFC 5382 REQ-5 (transitory)
    270,   // Cloudflare Gateway
    300,   // China Mobile and Unicom 2G, mobile hotspots, F5 BIG-IP
    350,   // AWS NLB, Gateway Load Balancer, Network Firewall, Nitro connection tracking
    600,   // Google VPC connection tracking, nginx stream
    900,   // IPVS (kube-proxy, Docker Swarm), KSyun, Alibaba and Tencent load balancers
    1200,  // Google Cloud NAT, Huawei USG
    1800,  // Azure AKS outbound, Juniper SRX
    3600,  // FortiGate, PAN-OS, Cisco ASA, Envoy
    7440,  // RFC 5382 REQ-5 (established): OpenWrt, VPP
    86400, // MikroTik, pfSense
];

/// A silence just under one of the numbers, in milliseconds: half a percent, and at least half a second, so that the
/// packet that ends the silence is through before the timeout.
fn just_under_ms(timeout_s: u32) -> u32 {
    let timeout_ms = timeout_s * 1000;
    timeout_ms - (timeout_ms / 200).max(500)
}

/// The longest silence just under a known timeout that is longer than `above_ms` and at most `most_ms`.
pub(super) fn longest_in(above_ms: u32, most_ms: u32) -> Option<u32> {
    let known = TIMEOUTS_S.iter().rev().map(|timeout_s| just_under_ms(*timeout_s));
    known.into_iter().find(|silence_ms| (above_ms + 1..=most_ms).contains(silence_ms))
}
