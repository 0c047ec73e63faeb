//! The spans of a request: one of the request, and one of its record's way to Kafka, whose place the
//! record carries. Attributes name what is configured or what Stripe's events are called; nothing of a
//! body or a header is among them but the event's id.

use std::time::SystemTime;

use domain::catalog;
use domain::peek::Peek;
use domain::trace::Traceparent;
use hyper::HeaderMap;
use service::traces::{Place, Span, SpanKind, Traces};

use crate::answer::Answer;
use crate::publish::PublishError;

/// What a request is part of.
pub(crate) struct Trace<'a> {
    traces: &'a Traces,
    /// What its own header says.
    came: Option<Traceparent>,
    span: Option<Span>,
}

impl<'a> Trace<'a> {
    pub(crate) fn begin(traces: &'a Traces, headers: &HeaderMap, endpoint: &str) -> Self {
        let came = traceparent(headers);
        let name = "POST /webhooks/stripe";
        let mut span = traces.span(name, SpanKind::Server, came.map(place), SystemTime::now());
        if let Some(span) = &mut span {
            span.set("http.request.method", "POST");
            span.set("stripe.endpoint", endpoint.to_owned());
        }
        Self { traces, came, span }
    }

    /// Its record is on its way from now on.
    pub(crate) fn publish(&self, topic: &str) -> Publishing {
        let parent = self.span.as_ref().map(Span::place);
        let span = parent.and_then(|parent| {
            let name = format!("send {topic}");
            let (kind, now) = (SpanKind::Producer, SystemTime::now());
            let mut span = self.traces.span(name, kind, Some(parent), now)?;
            span.set("messaging.system", "kafka");
            span.set("messaging.operation.type", "send");
            span.set("messaging.destination.name", topic.to_owned());
            Some(span)
        });
        Publishing { came: self.came, span }
    }

    pub(crate) fn answered(&mut self, answer: Answer) {
        let Some(span) = &mut self.span else { return };
        let status = answer.status();
        span.set("http.response.status_code", i64::from(status.as_u16()));
        span.set("ingest.outcome", answer.outcome());
        if let Answer::Refused(refusal) = answer {
            span.set("ingest.reason", refusal.code());
        }
        if status.is_server_error() {
            span.fail(answer.outcome());
        }
    }
}

/// A record on its way.
pub(crate) struct Publishing {
    came: Option<Traceparent>,
    span: Option<Span>,
}

impl Publishing {
    /// What its event is.
    pub(crate) fn tell(&mut self, seen: &Peek<'_>) {
        let Some(span) = &mut self.span else { return };
        if let Some(id) = &seen.id {
            span.set("stripe.event.id", id.to_string());
        }
        let modelled = seen.event_type.as_deref().and_then(catalog::modelled);
        span.set("stripe.event.type", modelled.unwrap_or("other"));
    }

    /// What the record carries: the place of its span if that is sent, else what the request carried.
    pub(crate) fn traceparent(&self) -> Option<Traceparent> {
        let ours = self.span.as_ref().map(|span| {
            let Place { trace_id, span_id, sampled } = span.place();
            Traceparent { trace_id, span_id, sampled }
        });
        ours.or(self.came)
    }

    pub(crate) fn ended(mut self, error: Option<&PublishError>) {
        if let (Some(span), Some(error)) = (&mut self.span, error) {
            span.fail(error.code());
        }
    }
}

/// What the request says it is part of. Several headers say nothing.
fn traceparent(headers: &HeaderMap) -> Option<Traceparent> {
    let mut values = headers.get_all("traceparent").iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    Traceparent::parse(only.to_str().ok()?)
}

fn place(it: Traceparent) -> Place {
    Place { trace_id: it.trace_id, span_id: it.span_id, sampled: it.sampled }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_well_formed_header_counts() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let said = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("traceparent", value.parse().unwrap());
            }
            traceparent(&headers).map(|it| it.to_string())
        };
        assert_eq!(said(&[good]).as_deref(), Some(good));
        for wrong in [&[][..], &[good, good], &["x"], &[""]] {
            assert_eq!(said(wrong), None, "{wrong:?}");
        }
    }
}
