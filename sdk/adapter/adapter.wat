;; Gives a module that was built for WASI preview 1 what it may have of WASI 0.2: clocks, random numbers, waiting,
;; standard output and standard error. There are no files, no arguments, no environment and no sockets: what asks for
;; them gets an error number. It keeps no memory of its own and calls no allocator.
;;
;; A component must not call out while the host has it allocate (`cabi_realloc`). Go's collector may run just then, and
;; it looks at the clock. So a module may say that it allocates (`millrace_allocating`), which is no part of preview 1:
;; clocks then stand still, and what is written is dropped.
(module
  (import "env" "memory" (memory 0))
  (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $get_stdout (result i32)))
  (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $get_stderr (result i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $blocking_write_and_flush (param $stream i32) (param $start i32) (param $len i32) (param $result i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop_stream (param i32)))
  (import "wasi:io/error@0.2.0" "[resource-drop]error" (func $drop_error (param i32)))
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall_now (param $result i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $monotonic_now (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe_duration (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop_pollable (param i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random_u64 (result i64)))

  ;; Not 0 while the module allocates for the host.
  (global $allocating (mut i32) (i32.const 0))
  ;; What the clocks showed last, in nanoseconds.
  (global $wall (mut i64) (i64.const 0))
  (global $monotonic (mut i64) (i64.const 0))
  ;; What stood where answers of WASI 0.2 are laid down, 16 bytes from address 0 on, while they are there.
  (global $kept_low (mut i64) (i64.const 0))
  (global $kept_high (mut i64) (i64.const 0))

  (func $borrow_answer
    (global.set $kept_low (i64.load (i32.const 0)))
    (global.set $kept_high (i64.load (i32.const 8))))
  (func $return_answer
    (i64.store (i32.const 0) (global.get $kept_low))
    (i64.store (i32.const 8) (global.get $kept_high)))

  (func (export "millrace_allocating") (param $allocating i32)
    (global.set $allocating (local.get $allocating)))

  ;; Clocks: 0 is the time of day, 1 the monotonic one.
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $time i32) (result i32)
    (if (i32.gt_u (local.get $clock) (i32.const 1)) (then (return (i32.const 58)))) ;; notsup
    (if (local.get $clock)
      (then
        (if (i32.eqz (global.get $allocating)) (then (global.set $monotonic (call $monotonic_now))))
        (i64.store (local.get $time) (global.get $monotonic)))
      (else
        (if (i32.eqz (global.get $allocating)) (then (call $read_wall)))
        (i64.store (local.get $time) (global.get $wall))))
    (i32.const 0))
  (func $read_wall
    (call $borrow_answer)
    (call $wall_now (i32.const 0))
    (global.set $wall
      (i64.add (i64.mul (i64.load (i32.const 0)) (i64.const 1000000000)) (i64.load32_u (i32.const 8))))
    (call $return_answer))
  (func (export "clock_res_get") (param $clock i32) (param $resolution i32) (result i32)
    (i64.store (local.get $resolution) (i64.const 1))
    (i32.const 0))

  ;; Output: 1 is standard output, 2 standard error.
  (func (export "fd_write") (param $fd i32) (param $parts i32) (param $count i32) (param $written i32) (result i32)
    (local $stream i32) (local $total i32) (local $len i32) (local $failed i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8)))) ;; badf
    (if (i32.eqz (global.get $allocating))
      (then
        (local.set $stream
          (if (result i32) (i32.eq (local.get $fd) (i32.const 1))
            (then (call $get_stdout)) (else (call $get_stderr))))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $len (i32.load offset=4 (local.get $parts)))
        (if (i32.eqz (global.get $allocating))
          (then
            (local.set $failed
              (call $write (local.get $stream) (i32.load (local.get $parts)) (local.get $len)))
            (br_if $done (local.get $failed))))
        (local.set $total (i32.add (local.get $total) (local.get $len)))
        (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (if (i32.eqz (global.get $allocating)) (then (call $drop_stream (local.get $stream))))
    (i32.store (local.get $written) (local.get $total))
    (if (result i32) (local.get $failed) (then (i32.const 29)) (else (i32.const 0)))) ;; io
  ;; 4096 bytes is what one call may pass. Answers whether it failed.
  (func $write (param $stream i32) (param $start i32) (param $len i32) (result i32)
    (local $step i32) (local $failed i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $len)))
        (local.set $step
          (select (i32.const 4096) (local.get $len) (i32.gt_u (local.get $len) (i32.const 4096))))
        (call $borrow_answer)
        (call $blocking_write_and_flush
          (local.get $stream) (local.get $start) (local.get $step) (i32.const 0))
        (local.set $failed (i32.load8_u (i32.const 0)))
        (if (i32.and (local.get $failed) (i32.eqz (i32.load8_u (i32.const 4))))
          (then (call $drop_error (i32.load (i32.const 8)))))
        (call $return_answer)
        (br_if $done (local.get $failed))
        (local.set $start (i32.add (local.get $start) (local.get $step)))
        (local.set $len (i32.sub (local.get $len) (local.get $step)))
        (br $next)))
    (local.get $failed))
  ;; A character device that can be written to.
  (func (export "fd_fdstat_get") (param $fd i32) (param $stat i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8)))) ;; badf
    (memory.fill (local.get $stat) (i32.const 0) (i32.const 24))
    (i32.store8 (local.get $stat) (i32.const 2))
    (i64.store offset=8 (local.get $stat) (i64.const 64)) ;; fd_write
    (i32.const 0))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 0))
  (func (export "fd_close") (param i32) (result i32) (i32.const 0))
  ;; Standard input has ended before it began.
  (func (export "fd_read") (param $fd i32) (param i32 i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8)))) ;; badf
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 70)) ;; spipe

  (func (export "random_get") (param $start i32) (param $len i32) (result i32)
    (local $word i64) (local $left i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $len)))
        (if (i32.eqz (local.get $left))
          (then
            (local.set $word (call $random_u64))
            (local.set $left (i32.const 8))))
        (i32.store8 (local.get $start) (i32.wrap_i64 (local.get $word)))
        (local.set $word (i64.shr_u (local.get $word) (i64.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $start (i32.add (local.get $start) (i32.const 1)))
        (local.set $len (i32.sub (local.get $len) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Waits for the clock that comes first and reports its subscription. Without a clock there is nothing to wait for.
  ;; A subscription has 48 bytes: userdata, tag at 8 (0 is a clock), clock at 16, time at 24, absolute at 40.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
    (local $first i32) (local $wait i64) (local $least i64) (local $pollable i32)
    (local.set $least (i64.const -1))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.eqz (i32.load8_u offset=8 (local.get $in)))
          (then
            (local.set $wait (call $wait_of (local.get $in)))
            (if (i64.lt_u (local.get $wait) (local.get $least))
              (then
                (local.set $least (local.get $wait))
                (local.set $first (local.get $in))))))
        (local.set $in (i32.add (local.get $in) (i32.const 48)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (if (i32.eqz (local.get $first)) (then (return (i32.const 58)))) ;; notsup
    (if (i32.and (i64.ne (local.get $least) (i64.const 0)) (i32.eqz (global.get $allocating)))
      (then
        (local.set $pollable (call $subscribe_duration (local.get $least)))
        (call $block (local.get $pollable))
        (call $drop_pollable (local.get $pollable))))
    (memory.fill (local.get $out) (i32.const 0) (i32.const 32))
    (i64.store (local.get $out) (i64.load (local.get $first)))
    (i32.store (local.get $events) (i32.const 1))
    (i32.const 0))
  ;; How long a subscription to a clock has to wait, in nanoseconds.
  (func $wait_of (param $in i32) (result i64)
    (local $time i64) (local $now i64)
    (local.set $time (i64.load offset=24 (local.get $in)))
    (if (i32.eqz (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1)))
      (then (return (local.get $time))))
    (if (i32.eqz (global.get $allocating))
      (then
        (global.set $monotonic (call $monotonic_now))
        (call $read_wall)))
    (local.set $now
      (select (global.get $monotonic) (global.get $wall) (i32.load offset=16 (local.get $in))))
    (if (result i64) (i64.gt_u (local.get $time) (local.get $now))
      (then (i64.sub (local.get $time) (local.get $now)))
      (else (i64.const 0))))

  (func (export "proc_exit") (param i32) unreachable)
  (func (export "proc_raise") (param i32) (result i32) unreachable)
  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; One argument, as some programs read their own name: "plugin".
  (func (export "args_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 1))
    (i32.store (local.get $bytes) (i32.const 7))
    (i32.const 0))
  (func (export "args_get") (param $pointers i32) (param $bytes i32) (result i32)
    (i32.store (local.get $pointers) (local.get $bytes))
    (i32.store (local.get $bytes) (i32.const 0x67756c70)) ;; "plug"
    (i32.store16 offset=4 (local.get $bytes) (i32.const 0x6e69)) ;; "in"
    (i32.store8 offset=6 (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (func (export "environ_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  ;; There are no folders (8 is badf), and there is nothing in them (52 is nosys).
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 52))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 52))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 52))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 52))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 52))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 52)))
