//! Events without rows: recorded, with the newest snapshot of their object at most.

use crate::payment::SOON;
use crate::script::Script;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Events whose objects have no rows, one of them without an id.
pub(crate) fn unmodelled(script: &mut Script<'_>) {
    script.request_after(SOON);
    let (customer, item) = (script.id("cus"), script.id("ii"));
    script.emit("customer.created", json!({"id": customer, "object": "customer", "metadata": {}}));
    script.emit(
        "invoiceitem.created",
        json!({"id": item, "object": "invoiceitem", "amount": 500, "currency": "usd",
            "customer": customer}),
    );
    script.emit(
        "balance.available",
        json!({"object": "balance", "available": [{"amount": 0, "currency": "usd"}]}),
    );
}

/// A customer comes and goes. Not every such event's object says `deleted`: its type must do.
pub(crate) fn customer_deleted(script: &mut Script<'_>) {
    script.request_after(SOON);
    let id = script.id("cus");
    let (created, livemode) = (script.now, script.stripe.livemode);
    let customer = json!({
        "id": id,
        "object": "customer",
        "created": created,
        "email": null,
        "livemode": livemode,
        "metadata": {},
    });
    script.emit("customer.created", customer.clone());
    script.request_after((60, 90_000));
    let mut gone = customer;
    if script.rng().coin() {
        gone["deleted"] = json!(true);
    }
    script.emit("customer.deleted", gone);
    script.truth.deleted.insert(id);
}

/// A thin event of the v2 API: it says what happened to which object, and nothing of the object.
pub(crate) fn thin(script: &mut Script<'_>) {
    script.request_after(SOON);
    let at = OffsetDateTime::from_unix_timestamp(script.now)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .map(|at| at.replace('Z', ".000Z"))
        .expect("a time of our era");
    let meter = script.id("mtr");
    let related =
        json!({"id": meter, "type": "billing.meter", "url": format!("/v1/billing/meters/{meter}")});
    let without_object = script.rng().coin();
    let (kind, related) = if without_object {
        ("v1.billing.meter.no_meter_found", json!(null))
    } else {
        ("v1.billing.meter.error_report_triggered", related)
    };
    script.emit_thin(kind, &at, &related);
}
