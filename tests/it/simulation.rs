use core::time::Duration;

use natpulse::simulate::{Clients, Contender, Nat, Report, Scenario, run};
fn secs(s: f64) -> Duration { Duration::from_secs_f64(s) }
#[test]
fn explore() {
    for t in [30.0, 31.0, 33.0,36.0, 40.0, 47.0, 60.0, 61.5, 75.0, 90.0, 99.0, 100.0, 105.0, 130.0,155.0, 180.0, 240.0,297.0, 300.0, 333.0,350.0, 600.0, 900.0, 1800.0, 3500.0, 3600.0, 5500.0, 7440.0] {
        for n in [1, 20] {
          for probes in [true,false] {
            let s = Scenario { contender: Contender::smart(secs(10_000.0), probes), nats: vec![Nat::fixed(secs(t))], clients: Clients::steady(n), length: secs(30.0*86400.0), restarts: vec![], settled_after: secs(if probes {4.0} else {40.0}*t+0.0) };
            let r: Report = run(&s, 1);
            println!("T {t:6} n {n:2} probes {probes:5} lost {:3} mist {} conv {:6.2}T settled {:.3}/{:.3} total {:.3} int {:?} probe packets {}", r.total.lost, r.total.mistaken, r.converged[0].map_or(-1.0, |c| c.as_secs_f64()/t), r.settled.beats_ratio(), r.settled.total_ratio(), r.total.total_ratio(), r.interval[0], r.total.probe_packets);
          }
        }
    }
}
