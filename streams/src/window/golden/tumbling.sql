-- Takings of each shop in each minute; what was given back counts apart.
SELECT
    date_bin(INTERVAL '1 minute', at)                     AS minute,
    shop,
    COUNT(*)                                              AS sales,
    COALESCE(SUM(amount) FILTER (WHERE amount > 0), 0)
        + COALESCE(SUM(amount) FILTER (WHERE amount < 0), 0) AS net,
    -SUM(amount) FILTER (WHERE amount < 0)                AS given_back,
    MIN(amount)                                           AS least,
    MAX(at)                                               AS last_at
FROM input
WHERE NOT test
GROUP BY minute, shop
