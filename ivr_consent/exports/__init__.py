"""The log for others: tables, consent records, vCons, and a report for who oversees."""
