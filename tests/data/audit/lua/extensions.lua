-- A dialplan as a program.
function support(context, extension)
    app.answer()
    app.mixmonitor("x.wav")      -- nobody was asked
    app.queue("support")
end

--[[ app.record("in a comment") ]]

function hangup_handler() app.hangup() end

extensions = {
    ["from-trunk"] = {
        ["70102030"] = support;
        ["70102031"] = function() app.dial("PJSIP/100", 30, "X") end;
        ["70102032"] = function() app["goto"]("closed", "s", 1) end;
        h = hangup_handler;
    };
}
