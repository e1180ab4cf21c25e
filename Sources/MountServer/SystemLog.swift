internal import CPosix
internal import Glibc
internal import Logging

/// Log lines for syslog(3), which is where a daemon without a terminal can still be heard.
struct SystemLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .notice

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let priority =
      switch event.level {
      case .critical, .error: LOG_ERR
      case .warning: LOG_WARNING
      default: LOG_NOTICE
      }
    unsafe platter_syslog(priority, "\(event.message)")
  }
}
