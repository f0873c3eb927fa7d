package millrace

var initialize func() error

// OnInit says what runs in each new instance before its first event. An error refuses the plugin when it is loaded. Call
// it from an init function, and write "include millrace:plugin/with-lifecycle@0.1.0;" into wit/plugin.wit.
func OnInit(init func() error) { initialize = init }
