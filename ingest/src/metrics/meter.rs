//! The handles that requests use, made once: counting allocates nothing and looks nothing up.

use domain::signature::Refusal;
use service::metrics::{Counter, Gauge, Histogram};

use super::{
    BODY_BYTES, BODY_SECONDS, IN_FLIGHT, IN_FLIGHT_BYTES, NOT_JSON, PUBLISH_SECONDS, REFUSALS,
    REQUEST_SECONDS, REQUESTS, SECRET_LAST_MATCH, SECRET_MATCHES, SIGNATURE_AGE, VERIFY_SECONDS,
};
use crate::answer::Answer;

/// What is measured of every request.
pub(crate) struct Meter {
    durations: [Histogram; Answer::OUTCOMES.len()],
    pub(crate) body_seconds: Histogram,
    pub(crate) verify_seconds: Histogram,
    pub(crate) publish_seconds: Histogram,
    pub(crate) signature_age: Histogram,
    pub(crate) body_bytes: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) in_flight_bytes: Gauge,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            durations: Answer::OUTCOMES.map(|outcome| REQUEST_SECONDS.with([outcome])),
            body_seconds: BODY_SECONDS.only(),
            verify_seconds: VERIFY_SECONDS.only(),
            publish_seconds: PUBLISH_SECONDS.only(),
            signature_age: SIGNATURE_AGE.only(),
            body_bytes: BODY_BYTES.only(),
            in_flight: IN_FLIGHT.only(),
            in_flight_bytes: IN_FLIGHT_BYTES.only(),
        }
    }

    /// How long requests took that were answered so.
    pub(crate) fn duration(&self, answer: Answer) -> &Histogram {
        &self.durations[answer.index()]
    }
}

/// What is measured of the requests of one endpoint.
pub(crate) struct EndpointMeter {
    requests: [Counter; Answer::OUTCOMES.len()],
    refusals: [Counter; Refusal::ALL.len()],
    matches: Vec<(Counter, Gauge)>,
    pub(crate) not_json: Counter,
}

impl EndpointMeter {
    /// Of an endpoint with this name and so many secrets.
    pub(crate) fn new(name: &str, secrets: usize) -> Self {
        let secret = |index: usize| {
            let series = [name, &index.to_string()];
            (SECRET_MATCHES.with(series), SECRET_LAST_MATCH.with(series))
        };
        Self {
            requests: Answer::OUTCOMES.map(|outcome| REQUESTS.with([name, outcome])),
            refusals: Refusal::ALL.map(|refusal| REFUSALS.with([name, refusal.code()])),
            matches: (0..secrets).map(secret).collect(),
            not_json: NOT_JSON.with([name]),
        }
    }

    /// A request was answered so.
    pub(crate) fn answered(&self, answer: Answer) {
        self.requests[answer.index()].increment(1);
        if let Answer::Refused(refusal) = answer {
            self.refusals[refusal as usize].increment(1);
        }
    }

    /// A signature matched the secret with this index, at this Unix time in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    pub(crate) fn matched(&self, secret: usize, now_s: u64) {
        if let Some((count, last)) = self.matches.get(secret) {
            count.increment(1);
            last.set(now_s as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_place_of_its_own() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
        }
    }
}
