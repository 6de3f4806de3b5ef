-- What is accepted and not delivered yet, by tenant, webhook and age: a delivery that arrives at once is never in it.
CREATE INDEX deliveries_undelivered ON deliveries (tenant, webhook, event)
    WHERE state IN ('pending', 'parked', 'waiting');
