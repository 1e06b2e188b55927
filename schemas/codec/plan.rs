//! The plan of a train: `train_service.avsc`, which `train_date_opened.avsc` embeds.

use crate::avro::{record, symbols};
use crate::types::{
    Allocation, Berth, Coach, Fare, FareSlab, Layout, PromotionPolicy, Quota, RefundBand, SaleWindow, Stop, Timetable,
    TrainService, WaitlistCap,
};

record!(TrainService {
    train_id,
    name,
    version,
    time_zone,
    running_dates,
    route,
    other_timetables,
    layouts,
    coaches,
    quotas,
    fares,
    refund_bands,
    waitlist_caps,
    sale,
    allocation,
    promotion,
    currency,
});

record!(Stop {
    code,
    name,
    arrival_s,
    departure_s,
    distance_m
});

record!(Timetable { running_dates, route });

record!(Layout { name, seats, pattern });

symbols!(Berth {
    Lower,
    Middle,
    Upper,
    SideLower,
    SideUpper,
    Window,
    Aisle
});

record!(Coach {
    name,
    travel_class,
    layout
});

record!(Quota {
    quota,
    travel_class,
    seats
});

record!(Fare {
    travel_class,
    slabs,
    reservation_fee_minor,
    tatkal_bp,
    tatkal_min_minor,
    tatkal_max_minor,
    tax_bp,
    cancellation_flat_minor,
    clerkage_minor,
});

record!(FareSlab { up_to_m, fare_minor });

record!(RefundBand { more_than_s, keep_bp });

record!(WaitlistCap {
    travel_class,
    quota,
    passengers
});

record!(SaleWindow {
    quota,
    opens_days_before,
    opens_at_s
});

symbols!(Allocation { BestFit, FirstFit });

symbols!(PromotionPolicy { FifoSkip, LegStrict });
