//! FHIR R4: every interaction, with what it refuses beside it.

mod binaries;
mod bundles;
mod concurrency;
mod conditions;
mod elsewhere;
mod examples;
mod histories;
mod instances;
mod integrity;
mod late;
mod links;
mod marks;
mod operations;
mod own_marks;
mod patches;
mod plans;
mod profiles;
mod reindex;
mod reindex_lists;
mod searches;
mod spent;
mod subsets;
mod systems;
mod terminology;
