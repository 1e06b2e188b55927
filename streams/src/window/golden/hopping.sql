-- Windows of two minutes, one each minute: each row counts for its own minute and for the one before.
SELECT
    date_bin(INTERVAL '1 minute', at) - hop.back AS minute,
    SUM(amount)                                  AS total
FROM input
CROSS JOIN (VALUES (INTERVAL '0 minute'), (INTERVAL '1 minute')) AS hop(back)
GROUP BY 1
