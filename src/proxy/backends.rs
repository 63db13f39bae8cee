//! A bridge's backends at work: whom a request asks for, and which of several is dialled.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tracing::{info, warn};

use super::token_file::TokenFile;
use crate::config::{HealthCheck, Pool, Whom};
use crate::link::{BackendUrl, Reach, Refusal};
use crate::metrics::{BackendMetrics, Metrics};
use crate::targets::{Balancer, Path, Pattern, Template, percent_decoded, query_token};

/// Whom a bridge dials.
#[derive(Debug)]
pub(super) struct Backends {
    bridge: String,
    whom: Choice,
    reach: Reach,
}

#[derive(Debug)]
enum Choice {
    Any(Members),
    Named(Template, Vec<Pattern>),
    Tokens(TokenFile),
}

/// Backends of which any will do.
#[derive(Debug)]
struct Members {
    /// A session holds its own one, so that the number of holders tells the number of sessions.
    urls: Vec<Arc<BackendUrl>>,
    balancer: Mutex<Balancer>,
    begun: Instant,
    checks: Option<(HealthCheck, BackendMetrics)>,
}

impl Backends {
    /// The backends of a bridge; what is checked on is counted.
    pub(super) fn new(bridge: &str, whom: &Whom, metrics: &Metrics) -> Backends {
        let (whom, reach) = match whom {
            Whom::Any(Pool { urls, balance, health_check }) => {
                let balancer = Balancer::new(urls.len(), *balance, health_check.is_some());
                let members = Members {
                    urls: urls.iter().cloned().map(Arc::new).collect(),
                    balancer: Mutex::new(balancer),
                    begun: Instant::now(),
                    checks: health_check.map(|check| (check, metrics.backends(bridge))),
                };
                members.count();
                (Choice::Any(members), Reach::Anywhere)
            }
            Whom::Named { template, allow, reach } => {
                (Choice::Named(template.clone(), allow.clone()), reach.clone())
            }
            Whom::Tokens { source, reach } => (Choice::Tokens(TokenFile::new(bridge, source)), reach.clone()),
        };
        Backends { bridge: bridge.to_owned(), whom, reach }
    }

    /// Which addresses may be dialled.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whom a request asks for; `None` where that is not for the client to say.
    pub(super) async fn find(
        &self,
        path: Option<&Path>,
        wanted: &str,
        query: Option<&str>,
    ) -> Result<Option<Arc<BackendUrl>>, Refusal> {
        let parameters = path.and_then(|path| path.fit(wanted)).map(|(_, found)| found);
        let parameters = parameters.unwrap_or_default();
        match &self.whom {
            Choice::Any(_) => Ok(None),
            Choice::Named(template, allow) => {
                let url = template.fill(&parameters).ok_or(Refusal::UnknownTarget)?;
                let is_allowed =
                    url.authority().is_some_and(|it| allow.iter().any(|pattern| pattern.matches(it)));
                if is_allowed { Ok(Some(Arc::new(url))) } else { Err(Refusal::ForbiddenTarget) }
            }
            Choice::Tokens(file) => {
                let in_path = parameters.iter().find(|(name, _)| *name == "token");
                let token = match in_path {
                    Some((_, raw)) => percent_decoded(raw),
                    None => query.and_then(query_token),
                };
                let url = file.get(&token.ok_or(Refusal::UnknownTarget)?).await;
                url.map(|url| Some(Arc::new(url))).ok_or(Refusal::UnknownTarget)
            }
        }
    }

    /// Whom to try, best first, for a session that asks for `own`, or has had it.
    pub(super) fn candidates(&self, own: Option<Arc<BackendUrl>>) -> Vec<Arc<BackendUrl>> {
        let mut order = match &self.whom {
            Choice::Any(members) => members.order(),
            Choice::Named(..) | Choice::Tokens(_) => Vec::new(),
        };
        if let Some(own) = own {
            order.retain(|url| !Arc::ptr_eq(url, &own));
            order.insert(0, own);
        }
        order
    }

    /// Takes note of whether a backend could be reached.
    pub(super) fn reached(&self, url: &Arc<BackendUrl>, is_well: bool) {
        if let Choice::Any(members) = &self.whom
            && let Some(member) = members.urls.iter().position(|known| Arc::ptr_eq(known, url))
        {
            members.reached(&self.bridge, member, is_well);
        }
    }

    /// Who is to be checked on, and how.
    pub(super) fn checked(&self) -> Option<(&[Arc<BackendUrl>], HealthCheck)> {
        match &self.whom {
            Choice::Any(Members { urls, checks: Some((check, _)), .. }) => Some((urls, *check)),
            Choice::Any(_) | Choice::Named(..) | Choice::Tokens(_) => None,
        }
    }

    /// Counts a check.
    pub(super) fn count_check(&self, has_passed: bool) {
        if let Choice::Any(Members { checks: Some((_, counts)), .. }) = &self.whom {
            counts.checked(has_passed);
        }
    }
}

impl Members {
    fn order(&self) -> Vec<Arc<BackendUrl>> {
        if let [url] = &self.urls[..] {
            return vec![url.clone()];
        }
        // All but the list's own.
        let sessions: Vec<_> = self.urls.iter().map(|url| Arc::strong_count(url) - 1).collect();
        let mut balancer = self.balancer.lock().unwrap_or_else(PoisonError::into_inner);
        let order = balancer.order(self.begun.elapsed(), &sessions);
        order.into_iter().map(|member| self.urls[member].clone()).collect()
    }

    fn reached(&self, bridge: &str, member: usize, is_well: bool) {
        let mut balancer = self.balancer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = match is_well {
            true => balancer.passed(member),
            false => balancer.failed(member, self.begun.elapsed()),
        };
        drop(balancer);
        self.count();
        // Of a single one, every failure is told anyway.
        if is_news && self.urls.len() > 1 {
            let backend = &*self.urls[member];
            match is_well {
                true => info!(bridge, %backend, "a backend is well again"),
                false => warn!(bridge, %backend, "a backend is down: the others are preferred"),
            }
        }
    }

    fn count(&self) {
        if let Some((_, counts)) = &self.checks {
            let balancer = self.balancer.lock().unwrap_or_else(PoisonError::into_inner);
            let well = balancer.well(self.begun.elapsed());
            counts.healthy(well, self.urls.len() - well);
        }
    }
}
