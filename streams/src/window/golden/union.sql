-- Each row counts for its shop and for the whole street; a day is a key like any other.
SELECT CAST(at AS DATE) AS day, who, SUM(amount * weight) AS total
FROM (
    SELECT at, shop AS who, amount, 1 AS weight FROM input
    UNION ALL
    SELECT at, 'street' AS who, amount, 10 AS weight FROM input
)
GROUP BY day, who
