"""A back office: tables of customers and tickets with sorting, filters and pages."""
