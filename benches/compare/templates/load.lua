-- What wrk asks for: -- METHOD TENANTS PATHS ROTATION [BODY]; so many requests are made before, and take turns.
-- NUMBER in the path is the number of the path. At the end the figures are told as one line of JSON.
local requests, last = {}, 0

function init(args)
    local method, tenants, paths, body = args[1], tonumber(args[2]), tonumber(args[3]), nil
    if args[5] then
        local file = assert(io.open(args[5], "rb"))
        body = file:read("*a")
        file:close()
    end
    for number = 1, tonumber(args[4]) do
        local headers = { Host = wrk.headers["Host"], ["User-Agent"] = "compare/1" }
        headers["Authorization"] = "Bearer compare-token-" .. (number - 1) % tenants
        if body then headers["Content-Type"] = "application/octet-stream" end
        local path = wrk.path:gsub("NUMBER", tostring((number - 1) % paths))
        requests[number] = wrk.format(method, path, headers, body)
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"status":%d,"broken":%d,"late":%d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
